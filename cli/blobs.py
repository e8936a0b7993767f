"""Commands on blobs."""

from __future__ import annotations

import sys
from typing import Any

from cli.connection import Connection, quote
from cli.exits import DONE
from cli.printing import document
from cli.reading import upload


def put(connection: Connection, options: Any) -> int:
    reference = upload(connection, options.file)
    document(reference) if options.json else print(reference["blob"])
    return DONE


def get(connection: Connection, options: Any) -> int:
    response = connection.open("GET", f"/api/v1/blobs/{quote(options.name)}", None, {"Accept": "*/*"})
    if options.output:
        with open(options.output, "wb") as file:
            for chunk in response.body:
                file.write(chunk)
        if options.json:
            document({"blob": options.name, "file": options.output})
        else:
            print(f"Wrote {options.output}.")
        return DONE
    for chunk in response.body:
        sys.stdout.buffer.write(chunk)
    return DONE
