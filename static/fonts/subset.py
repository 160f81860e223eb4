"""Makes DejaVuSans-Bold-initials.ttf from DejaVuSans-Bold.ttf (Debian: fonts-dejavu-core) with fonttools.

    pip install fonttools
    python3 static/fonts/subset.py /usr/share/fonts/truetype/dejavu/DejaVuSans-Bold.ttf

Initials are letters, digits and the marks on them. They are folded by NFKC and in capitals, so what a letter folds to
is kept and the letter itself is not; tables for hinting, kerning and glyph names go.
"""

import sys
import unicodedata
from pathlib import Path

from fontTools import subset
from fontTools.ttLib import TTFont


def is_needed(char, known):
    kind = unicodedata.category(char)
    if kind not in ("Lu", "Ll", "Lt", "Lo", "Nd", "Mn") or unicodedata.normalize("NFKC", char) != char:
        return False
    return kind != "Ll" or ord(char.upper()[0]) not in known


source = TTFont(sys.argv[1])
known = set(source.getBestCmap())
options = subset.Options()
options.hinting = False
options.layout_features = []
options.name_IDs = [0, 1, 2, 13, 14]
options.name_languages = [0x409]
options.drop_tables += ["FFTM", "kern", "GDEF", "GPOS", "GSUB"]
subsetter = subset.Subsetter(options)
subsetter.populate(unicodes=[code for code in known if is_needed(chr(code), known)])
subsetter.subset(source)
source["head"].modified = source["head"].created  # the same bytes each time
source.recalcTimestamp = False
source.save(Path(__file__).parent / "DejaVuSans-Bold-initials.ttf")
