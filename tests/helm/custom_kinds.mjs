// Custom resources (JSON on standard input) against the schemas of @kubernetes-models; the first argument is node_modules.
import { readFileSync, existsSync } from "node:fs";
import { pathToFileURL } from "node:url";
import path from "node:path";

const packages = ["gateway-api", "cert-manager", "keda", "prometheus-operator"];
const WRONG = [true, 1.5, "\u0000", {}, [[]], [true]];

async function model(root, document) {
  for (const name of packages) {
    const file = path.join(root, "@kubernetes-models", name, ...document.apiVersion.split("/"), `${document.kind}.js`);
    if (existsSync(file)) return (await import(pathToFileURL(file).href))[document.kind];
  }
  return null;
}

function complaint(Model, document) {
  try {
    new Model(document).validate();
    return null;
  } catch (error) {
    return error.message;
  }
}

// The schemas let unknown fields pass. One that may hold anything, whatever its type, is one that no schema looks at.
function unknownFields(Model, document, free) {
  const unknown = [];
  const walk = (node, trail) => {
    for (const [key, value] of Object.entries(node)) {
      const here = [...trail, key];
      const told = here.filter((part) => !/^\d+$/.test(part)).join(".");
      if (free.some((prefix) => told.startsWith(prefix))) continue;
      const noticed = WRONG.some((wrong) => {
        node[key] = wrong;
        return complaint(Model, document) !== null;
      });
      node[key] = value;
      if (!noticed) unknown.push(told);
      else if (value !== null && typeof value === "object") walk(value, here);
    }
  };
  walk(document.spec, ["spec"]);
  return unknown;
}

const [root] = process.argv.slice(2);
const documents = JSON.parse(readFileSync(0, "utf8"));
const problems = [];
// Free maps: any name may stand there.
const free = ["spec.triggers.metadata", "spec.selector.matchLabels", "spec.groups.rules.labels", "spec.groups.rules.annotations", "spec.groups.rules.expr"];
for (const document of documents) {
  const name = `${document.kind}/${document.metadata.name}`;
  const Model = await model(root, document);
  if (Model === null) {
    problems.push(`${name}: ${document.apiVersion} has no schema`);
    continue;
  }
  const said = complaint(Model, document);
  if (said !== null) problems.push(`${name}: ${said}`);
  else problems.push(...unknownFields(Model, document, free).map((field) => `${name}: ${field} is no field`));
}
console.log(JSON.stringify({ checked: documents.length, problems }));
