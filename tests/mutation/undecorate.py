"""Rewrites a module so that mutmut sees all of its functions: it leaves out those that have a decorator."""

from __future__ import annotations

import ast


def undecorated(source: str) -> str:
    """`@property` becomes an assignment after the function, and so does `@cached_property`. `@lru_cache` is removed.

    A cache that the unchanged code has filled would also hide the changes of all functions that are called below it.
    """
    lines = source.splitlines(keepends=True)
    functions = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)]
    for function in sorted(functions, key=lambda function: -function.lineno):
        match [ast.unparse(decorator) for decorator in function.decorator_list]:
            case [("property" | "cached_property") as decorator]:
                assert function.end_lineno is not None
                assignment = f"{function.name} = {decorator}({function.name})\n"
                lines.insert(function.end_lineno, " " * function.col_offset + assignment)
            case [decorator] if decorator.startswith("lru_cache"):
                pass
            case _:
                continue
        del lines[function.decorator_list[0].lineno - 1]
    return "".join(lines)
