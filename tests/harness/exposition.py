"""Reads what Prometheus reads: the text that a server shows on /metrics, and the names that queries ask for. Standard library only."""

import collections
import re

SERIES = re.compile(r'(?P<name>[a-z_]+)(?:\{(?P<labels>[^}]*)\})? (?P<value>\S+)')
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
SELECTOR = re.compile(r'\b(?P<name>(?:switchyard|process)_[a-z_]+)(?:\{(?P<matchers>[^}]*)\})?')
MATCHER = re.compile(r'(\w+)(?:=~|!~|!=|=)"((?:[^"\\]|\\.)*)"')
# What Prometheus adds to every series that it scrapes.
SCRAPED = {"job", "instance"}

Family = collections.namedtuple("Family", "kind help labels")


class Exposition:
    """The metrics of one scrape."""

    def __init__(self, text):
        self.families, self.series = {}, collections.defaultdict(list)
        helps, family = {}, None
        for line in text.splitlines():
            if line.startswith("# HELP "):
                _, _, name, says = line.split(" ", 3)
                helps[name] = says
            elif line.startswith("# TYPE "):
                _, _, family, kind = line.split(" ")
                self.families[family] = Family(kind, helps[family], [])
            elif line:
                found = SERIES.fullmatch(line)
                assert found, line
                labels = dict(LABEL.findall(found["labels"] or ""))
                self.series[found["name"]].append((labels, float(found["value"])))
                known = self.families[family].labels
                known += [label for label in labels if label != "le" and label not in known]

    def sum(self, name, **labels):
        """All series of a name with these labels, added up."""
        found = [value for has, value in self.series[name] if labels.items() <= has.items()]
        assert found, f"no series {name} {labels}"
        return sum(found)

    def unknown_in(self, query):
        """What a PromQL expression asks for and no series has: a name, or a label's value (of `a|b`, each)."""
        unknown = []
        for selector in SELECTOR.finditer(query):
            series = [labels for labels, _ in self.series.get(selector["name"], [])]
            if not series:
                unknown.append(selector["name"])
            for label, values in MATCHER.findall(selector["matchers"] or ""):
                known = {labels.get(label) for labels in series}
                if label not in SCRAPED:
                    unknown += [f'{selector["name"]}{{{label}="{value}"}}' for value in values.split("|") if value not in known]
        return unknown
