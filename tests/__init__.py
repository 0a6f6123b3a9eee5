"""Tests mirror the tree: tests/eval/test_gap.py tests eval/gap.py. Here, at the root, lie tests of
the whole (test_flow, test_house, test_docs, test_facestill, test_sharing, test_studies), and what
tests of several packages are made of:

    conftest          the real weights, and a workspace that stages run in
    contracts/        suites that every generator, aligner, teacher, annotator and kind of image set
                      inherits
    students          the suite that every student inherits
    references/       slow twins: the same results by the plainest code
    flow              the whole flow in one process
    imports           what a file imports

    toys              small manifests and stores, made by the code that makes the real ones
    large_rounds      large rounds without the hours: the faces of a small one, over and over
    packed           a round with all that one may have, packed, and packed files with one lie each
    hostile_stores    stores as a stranger with bad intentions would make them
    image_packs       the same images in every kind of set, written by others' libraries
    fabricated_runs   finished runs of which no network was trained
    study_students    students of a study, of which no network was trained either
    exports           runs to export, and records of exports
    protocols         benchmarks whose figures are known beforehand
    results           verifications of made-up people
    networks          small ONNX networks with random weights
    detectors         detectors of faces as ONNX files: a real one, and those that say one thing
    stylegans         StyleGAN files in the official layouts, with random weights
    gan_control       the same for GAN-Control

    browser           a page in headless Chromium
    teams             teams with a git and DVC repository each
    process_costs     commands in processes of their own, and the time and memory they took

clients/ asks other runtimes for a student's embeddings, bench/ measures, campaign/ kills and
damages, experiments/ takes hours; `make help` names them.
"""

from manifests.core.waiting import wait_briefly

wait_briefly()  # as every command does, before torch is loaded
