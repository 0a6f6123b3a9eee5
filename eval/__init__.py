from manifests.core.waiting import wait_briefly

wait_briefly()  # before torch is loaded
