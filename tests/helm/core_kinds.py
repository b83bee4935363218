"""Run by the environment of `make helm`: documents (JSON on standard input) against Kubernetes' own schemas."""

import json
import sys

import kubernetes_validate

documents, problems = json.load(sys.stdin), []
for version in sys.argv[1:]:
    for document in documents:
        name = f"{version}: {document['kind']}/{document['metadata']['name']}"
        try:
            kubernetes_validate.validate(document, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            problems.append(f"{name}: {'.'.join(map(str, error.path))}: {error.message}")
        except kubernetes_validate.SchemaNotFoundError as error:
            problems.append(f"{name}: has no schema: {error}")
print(json.dumps({"checked": len(documents) * len(sys.argv[1:]), "problems": problems}))
