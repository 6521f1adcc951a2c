"""Measure the architecture: lines, rooms, import circles, the arrows between packages, longest functions and classes.

python scripts/architecture.py

A room is a folder of a package or a module beside such folders. `tests/scripts/test_architecture.py` holds the limits.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[1]
# Each package may import those before it.
PACKAGES = ("mat2spec", "screening", "dft_validation", "flows")


@dataclass(frozen=True)
class Length:
    """Lines of a function or class."""

    lines: int
    name: str


@dataclass
class House:
    """Measures of the packages.

    Parameters
    ----------
    modules
        Lines of each module.
    imports
        Modules that each module imports when it is loaded.
    functions, classes
        Lengths, docstrings and decorators included.
    imports_in_functions
        Import statements inside functions, by module.
    """

    modules: dict[str, int] = field(default_factory=dict)
    imports: dict[str, set[str]] = field(default_factory=dict)
    functions: list[Length] = field(default_factory=list)
    classes: list[Length] = field(default_factory=list)
    imports_in_functions: dict[str, int] = field(default_factory=dict)

    def room_imports(self) -> dict[str, set[str]]:
        """Rooms that each room imports, itself excepted."""
        arrows: dict[str, set[str]] = {}
        for module, targets in self.imports.items():
            arrows.setdefault(room_of(module), set()).update(room_of(target) for target in targets)
        return {room: targets - {room} for room, targets in arrows.items()}

    def wrong_arrows(self) -> list[str]:
        """Imports of a package that comes later in `PACKAGES`."""
        rank = {package: place for place, package in enumerate(PACKAGES)}
        return [
            f"{module} -> {target}"
            for module, targets in self.imports.items()
            for target in sorted(targets)
            if rank[target.partition(".")[0]] > rank[module.partition(".")[0]]
        ]


def measure(root: Path = ROOT) -> House:
    """Read all modules of the packages."""
    house = House()
    files = {_module_name(path, root): path for package in PACKAGES for path in sorted((root / package).rglob("*.py"))}
    for module, path in files.items():
        source = path.read_text(encoding="utf-8")
        tree = ast.parse(source)
        house.modules[module] = source.count("\n")
        inside = set(_inside_functions(tree))
        statements = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
        house.imports_in_functions[module] = sum(node in inside for node in statements)
        loaded = {name for node in statements if node not in inside for name in _targets(node, files)}
        house.imports[module] = loaded - {module}
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                length = Length((node.end_lineno or node.lineno) - node.lineno + 1, f"{module}:{node.name}")
                (house.classes if isinstance(node, ast.ClassDef) else house.functions).append(length)
    return house


def room_of(module: str) -> str:
    """Room of a module: its folder within the package, or itself."""
    return ".".join(module.split(".")[:2])


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """One circle through each node that can be reached from itself, without repetitions."""
    found: dict[frozenset[str], list[str]] = {}
    for start in graph:
        circle = _way_back(start, graph)
        if circle:
            found.setdefault(frozenset(circle), circle)
    return list(found.values())


def _way_back(start: str, graph: dict[str, set[str]]) -> list[str]:
    before: dict[str, str] = {}
    queue = [start]
    for node in queue:
        for target in sorted(graph.get(node, ())):
            if target == start:
                way = [node]
                while way[-1] != start:
                    way.append(before[way[-1]])
                return way[::-1]
            if target not in before:
                before[target] = node
                queue.append(target)
    return []


def _module_name(path: Path, root: Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _inside_functions(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from (child for child in ast.walk(node) if child is not node)


def _targets(node: ast.Import | ast.ImportFrom, files: dict[str, Path]) -> Iterator[str]:
    """Modules of the packages that a statement imports; parent packages only where a name is taken from them."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names if alias.name in files)
        return
    for alias in node.names:
        name = f"{node.module}.{alias.name}"
        if name in files:
            yield name
        elif node.module in files:
            yield node.module


def report(house: House) -> str:
    """The measures as text."""
    rooms = sorted({room_of(module) for module in house.modules} - set(PACKAGES))
    lines = sorted(length.lines for length in house.functions)
    text = [
        f"{sum(house.modules.values()):,} lines in {len(house.modules)} modules, the longest {max(house.modules.values())}"
    ]
    for package in PACKAGES:
        inside = {module: n for module, n in house.modules.items() if module.partition(".")[0] == package}
        n_rooms = sum(room.startswith(f"{package}.") for room in rooms)
        text.append(f"  {package:<15} {sum(inside.values()):>7,} lines {len(inside):>4} modules {n_rooms:>3} rooms")
    text.append(f"Functions: median {median(lines):.0f} lines, 90 % up to {lines[len(lines) * 9 // 10]}, the longest:")
    text += [f"  {one.lines:>4}  {one.name}" for one in sorted(house.functions, key=lambda one: -one.lines)[:5]]
    text.append("Classes, the longest:")
    text += [f"  {one.lines:>4}  {one.name}" for one in sorted(house.classes, key=lambda one: -one.lines)[:3]]
    text.append(f"Imports inside functions: {sum(house.imports_in_functions.values())}")
    for what, graph in (("modules", house.imports), ("rooms", house.room_imports())):
        found = circles(graph)
        text.append(f"Circles of {what}: {len(found)}")
        text += [f"  {' -> '.join([*circle, circle[0]])}" for circle in found]
    wrong = house.wrong_arrows()
    text += [f"Arrows back between packages: {len(wrong)}", *(f"  {arrow}" for arrow in wrong)]
    return "\n".join(text)


if __name__ == "__main__":
    print(report(measure()))
