"""Statements: the sentences of a round's card, each true of any round with such facts.

What a particular generator or teacher was trained on is not known here: passports say it only
in their licences, and no sentence goes beyond them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from manifests.cards.facts import NOT_STATED, RoundFacts, StoreFacts, leaves
from manifests.core.layout import PROBE
from manifests.stores.passport import Passport

# What the plane of frames is measured by, in words.
FIELDS_CROP = "the field's crop (arcface112) has its corner at (-1.255, -3.11) and sides of 114.51"
COLUMNS = {
    "face_id": "Unique id of the face; ids strictly increase.",
    "round": "Name of the round.",
    "generator": "Name of the generator that the latent is for.",
    "latent": "Input of the generator; empty where an imported face has none.",
    "seed": "Seed of the row, derived from its face_id.",
    "identity_id": "Rows made to share an identity; it names no person.",
    "side": "Side of the boundary: -1 similar to the parent, +1 dissimilar.",
    "parent_id": "face_id of the face whose latent this one was made from, in another round as a "
    "rule. A reader that turns integers with empty cells into floats rounds it.",
    "region_id": "Cluster of teacher embeddings that the parent lies in.",
    "origin": "Where the row comes from: prior, boundary, mined or imported.",
    "law": "Name of the law that moved the latent away from its parent's.",
    "step": "Size of that move, in the law's own measure.",
    "score": "Gap (1 - cosine) between student and teacher on the parent.",
    "source_sha256": "sha256 of what an imported face was made from.",
}
ORIGINS = {
    "prior": "drawn from the prior of the generator",
    "boundary": "made from latents of reference faces, moved along the normals of boundaries in "
    "latent space to their similar or dissimilar sides",
    "mined": "made from latents of parent faces in regions where a student was far from its "
    "teacher, moved at random",
}
MAY_BE_PHOTOGRAPHS = "they may be photographs of real people"
NO_TIME = "When they were made is not on record: passports hold no time."


def summary(facts: RoundFacts) -> str:
    """One sentence on what the round is."""
    passport = facts.faces.passport
    origin = "rendered" if facts.num_imported == 0 else "rendered or imported"
    if facts.num_generated == 0 and facts.num_imported:
        origin = "imported" if facts.manifest else "possibly imported"
    makers = ", ".join(store.maker for store in facts.teachers) or "no teacher yet"
    return (
        f"{passport.num_rows:,} {origin} pictures of faces, {passport.num_ok:,} of them usable, "
        f"with embeddings by {makers}, for distilling face-recognition networks."
    )


def collection(facts: RoundFacts) -> list[str]:
    manifest, faces = facts.manifest, facts.faces
    made_by = f"{faces.maker} (weights sha256: {faces.weights_sha256})"
    if manifest is None:
        return [
            "The manifest of the round is not here, so that nothing shows how its faces came "
            f"about: {MAY_BE_PHOTOGRAPHS}.",
            f"The passport of the face store names as their maker: {made_by}.",
            NO_TIME,
        ]
    rows = [
        f"{count:,} latents were {ORIGINS[origin]}."
        for origin, count in manifest.origins.items()
        if origin in ORIGINS
    ]
    if facts.num_generated:
        recipe = manifest.recipe
        rows.append(
            f"They were rendered by {made_by}; latents of width {recipe.latent_width} in space "
            f"{recipe.latent_space}, psi {recipe.psi:g}, noise mode {recipe.noise_mode}. No camera "
            "and no person took part."
        )
    if facts.num_imported:
        rows.append(f"{facts.num_imported:,} faces were imported: {whose(facts)}.")
    return [*rows, NO_TIME]


def whose(facts: RoundFacts) -> str:
    """What imported faces are, or may be."""
    if facts.real_faces is not None:
        return f"they are photographs of real people: {facts.real_faces}"
    if facts.synthetic_source is None:
        return MAY_BE_PHOTOGRAPHS
    return (
        f"who imported them states that they are synthetic, made by {facts.synthetic_source}; "
        "nothing here proves it"
    )


def missing_data(facts: RoundFacts) -> str:
    passport = facts.faces.passport
    failed = passport.num_rows - passport.num_ok
    if not failed:
        return "Every row has a usable face."
    return (
        f"{failed:,} of {passport.num_rows:,} rows have no usable face ({reasons(passport)}). They "
        "keep their row: ok is false, reason says why, and their embeddings are NaN."
    )


def reasons(passport: Passport) -> str:
    """Failures by reason."""
    return ", ".join(f"{reason}: {count:,}" for reason, count in sorted(passport.failures.items()))


def preprocessing(facts: RoundFacts) -> list[str]:
    frame, alignment = facts.frame, facts.faces.identity.get("alignment")
    rows = [
        f"Faces are stored as RGB crops of {frame['size']} x {frame['size']} pixels in frame "
        f"{frame['name']}: the square with its corner at ({frame['left']}, {frame['top']}) and "
        f"sides of {frame['extent']}, where {FIELDS_CROP}."
    ]
    if alignment:
        rows.append(f"How a face is found and aligned: {listed(alignment)}.")
    return rows + [_teacher_input(store) for store in facts.teachers]


def _teacher_input(store: StoreFacts) -> str:
    names = ("frame", "preprocessing", "views", "metric", "precision")
    stated = {name: store.identity[name] for name in names if name in store.identity}
    return f"Input and output of teacher {store.maker}: {listed(stated) or NOT_STATED}."


def listed(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} = {value}" for name, value in leaves(values))


def type_name(column: pa.Field) -> str:
    if pa.types.is_fixed_size_list(column.type):
        return f"{column.type.value_type} × {column.type.list_size}".replace("half", "16-bit ")
    return str(column.type)


def use_cases(facts: RoundFacts) -> list[str]:
    if facts.name == PROBE:
        purpose = "Measuring how far a student is from its teacher. It must not be trained on."
    else:
        purpose = (
            "Training a student: row i of a teacher store is the target of row i of the faces."
        )
    return [
        purpose,
        "Not for deciding about people: models made with it have not been measured for fairness.",
        "Not for claims about the recognition of people: those need photographs that nothing was "
        "trained on.",
    ]


def limitations(facts: RoundFacts) -> list[str]:
    rows = [
        "The faces are no sample of any population.",
        "Embeddings are what a teacher says, its errors included.",
        "Between kinds of machine the low bits of pictures and embeddings differ; the passports "
        "record under numerics what they were computed on.",
    ]
    if facts.manifest is not None and facts.manifest.distinct["identity_id"]:
        rows.append("That rows of one identity_id look like one person is meant, not checked.")
    return rows


def biases(facts: RoundFacts) -> list[str]:
    rows = ["Age, gender, skin colour and other traits are neither recorded nor balanced."]
    if facts.num_generated:
        rows.append("Rendered faces have the biases of what the generator was trained on.")
    if facts.num_imported:
        rows.append("Other faces have the biases of their source, which is not on record here.")
    if facts.faces.identity.get("alignment") and facts.faces.passport.failures:
        rows.append("Usable faces lean to those that the face detector finds.")
    if facts.teachers:
        rows.append(
            "Embeddings have the biases of what the teacher was trained on, and a student learns "
            "them too."
        )
    return rows


def personal_information(facts: RoundFacts) -> list[str]:
    rows = []
    if facts.num_generated:
        rows.append(
            "Rendered faces are not meant to show anybody; still, a generator may repeat faces "
            "that it was trained on, and a rendered face may resemble a person by chance."
        )
    if facts.num_imported:
        rows.append(
            f"{facts.num_imported:,} faces are imported, or of unknown origin: {whose(facts)}. "
            "Pictures and embeddings of people are personal, biometric data. Ask where they come "
            "from before use."
        )
    rows.append("The round holds no names of people and no labels of their traits.")
    if facts.teachers:
        rows.append(
            "Teachers may have been trained on photographs of real people, which are not part of "
            "the round."
        )
    return rows


def social_impact(facts: RoundFacts) -> str:
    cost = "It also makes face recognition smaller and cheaper, for surveillance too."
    if facts.num_imported:
        return cost.replace("It also", "Distillation")
    return f"Distilling with rendered faces can spare collections of photographs of people. {cost}"


def maintenance(facts: RoundFacts) -> list[str]:
    rows = ["A round does not change: other bytes have another Merkle root, which readers compare."]
    if facts.manifest is not None and facts.num_imported == 0:
        rows.append("It can be built again from its manifest and the weights named here.")
    return [*rows, "No plan of updates and no contact are on record unless stated on this card."]
