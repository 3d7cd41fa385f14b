import { join } from "node:path";
import ts from "typescript";
import { mutatedFiles } from "./mutate.mjs";

/**
 * What the compiler says against mutants. A defect that somebody may put in compiles; one that does not would be caught
 * by the compiler, and by a test only for the wrong reason.
 * @param {import("./workspace.mjs").Workspace} workspace
 * @param {readonly import("./mutate.mjs").Mutant[]} mutants
 * @returns {string[]}
 */
export function compileErrors(workspace, mutants) {
  /** @type {Map<string, { version: number, text: string }>} */
  const spoilt = new Map();
  const service = languageService(join(workspace.root, "packages/core"), spoilt);
  let version = 0;
  return mutants.flatMap((mutant) => {
    const texts = [...mutatedFiles(mutant, (file) => workspace.read(file))];
    const paths = texts.map(([file]) => join(workspace.root, file));
    version += 1;
    for (const [file, text] of texts) spoilt.set(join(workspace.root, file), { version, text });
    const errors = paths.flatMap((path) => [
      ...service.getSyntacticDiagnostics(path),
      ...service.getSemanticDiagnostics(path),
    ]);
    for (const path of paths) spoilt.delete(path);
    return errors.map(
      ({ messageText }) => `${mutant.name}: ${ts.flattenDiagnosticMessageText(messageText, " ")}`,
    );
  });
}

/**
 * @param {string} folder with a tsconfig.json
 * @param {Map<string, { version: number, text: string }>} spoilt texts that count instead of those of the files
 */
function languageService(folder, spoilt) {
  const file = join(folder, "tsconfig.json");
  const config = ts.parseJsonConfigFileContent(
    ts.readConfigFile(file, ts.sys.readFile).config,
    ts.sys,
    folder,
  );
  return ts.createLanguageService({
    getCompilationSettings: () => config.options,
    getScriptFileNames: () => config.fileNames,
    getScriptVersion: (path) => String(spoilt.get(path)?.version ?? 0),
    getScriptSnapshot: (path) => {
      const text = spoilt.get(path)?.text ?? ts.sys.readFile(path);
      return text === undefined ? undefined : ts.ScriptSnapshot.fromString(text);
    },
    getCurrentDirectory: () => folder,
    getDefaultLibFileName: ts.getDefaultLibFilePath,
    fileExists: ts.sys.fileExists,
    readFile: ts.sys.readFile,
    readDirectory: ts.sys.readDirectory,
    directoryExists: ts.sys.directoryExists,
    getDirectories: ts.sys.getDirectories,
  });
}
