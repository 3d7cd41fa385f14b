import { spawn, spawnSync } from "node:child_process";
import {
  copyFileSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, relative, resolve, sep } from "node:path";
import { mutatedFiles } from "./mutate.mjs";
import { runOf } from "./report.mjs";

/** A run that takes longer hangs: an endless loop, for instance, that no test's own deadline can interrupt. */
const longestRunMs = 600_000;

/**
 * A copy of the working tree in a folder of its own, in which sources can be spoilt. Its packages lead to each other's
 * copies, and share everything else that is installed.
 */
export class Workspace {
  /** @type {string} */
  #root;
  /** @type {Set<number>} process groups of the runs that are under way */
  #groups = new Set();

  /** @param {string} repository */
  constructor(repository) {
    this.#root = realpathSync(mkdtempSync(join(tmpdir(), "msm-mutants-")));
    copySources(repository, this.#root);
    linkModules(repository, this.#root, ".");
    for (const folder of workspaceFolders(this.#root)) linkModules(repository, this.#root, folder);
  }

  /** @returns {string} */
  get root() {
    return this.#root;
  }

  /** @param {string} file @returns {string} */
  read(file) {
    return readFileSync(join(this.#root, file), "utf8");
  }

  /**
   * Runs what is handed in while the sources are those of the mutant.
   * @template T
   * @param {import("./mutate.mjs").Mutant} mutant
   * @param {() => Promise<T>} run
   * @returns {Promise<T>}
   */
  async mutated(mutant, run) {
    const texts = mutatedFiles(mutant, (file) => this.read(file));
    const originals = [...texts.keys()].map((file) => ({ file, text: this.read(file) }));
    try {
      for (const [file, text] of texts) writeFileSync(join(this.#root, file), text);
      return await run();
    } finally {
      for (const { file, text } of originals) writeFileSync(join(this.#root, file), text);
    }
  }

  /**
   * Runs unit tests.
   * @param {readonly string[]} files paths, or parts of them
   * @param {{ pattern?: string | undefined, maxWorkers?: number }} [options] `pattern`: of the tests' full names
   * @returns {Promise<import("./report.mjs").Run>}
   */
  async test(files, { pattern, maxWorkers = 1 } = {}) {
    const reportFile = join(this.#root, "vitest-report.json");
    rmSync(reportFile, { force: true });
    const output = await this.#run([
      ...[join(this.#root, "node_modules/vitest/vitest.mjs"), "run", "--project", "unit"],
      ...["--reporter=json", `--outputFile=${reportFile}`, `--maxWorkers=${maxWorkers}`],
      ...(pattern === undefined ? [] : ["-t", pattern]),
      ...files,
    ]);
    return runOf(existsSync(reportFile) ? JSON.parse(readFileSync(reportFile, "utf8")) : undefined, output);
  }

  /** Ends what still runs, and removes the copy. Safe to call twice. */
  close() {
    for (const group of this.#groups) endGroup(group);
    rmSync(this.#root, { recursive: true, force: true });
  }

  /**
   * @param {readonly string[]} args
   * @returns {Promise<string>} what it printed
   */
  #run(args) {
    // A process group of its own, so that a run that hangs ends with its workers and the servers of its tests.
    const child = spawn(process.execPath, args, {
      cwd: this.#root,
      detached: true,
      stdio: ["ignore", "pipe", "pipe"],
    });
    const group = child.pid;
    if (group !== undefined) this.#groups.add(group);
    const timer = setTimeout(() => group !== undefined && endGroup(group), longestRunMs);
    let output = "";
    const keep = (/** @type {Buffer} */ bytes) => {
      output = (output + bytes).slice(-20_000);
    };
    child.stdout.on("data", keep);
    child.stderr.on("data", keep);
    return new Promise((settle) => {
      child.once("error", (error) => {
        output += error.message;
      });
      child.once("close", () => {
        clearTimeout(timer);
        if (group !== undefined) this.#groups.delete(group);
        settle(output);
      });
    });
  }
}

/** @param {number} group */
function endGroup(group) {
  try {
    process.kill(-group, "SIGKILL");
  } catch {
    // It has ended by itself.
  }
}

/**
 * Copies what git knows or would take, as it is in the working tree.
 * @param {string} from
 * @param {string} to
 */
function copySources(from, to) {
  const git = spawnSync("git", ["ls-files", "-z", "--cached", "--others", "--exclude-standard"], {
    cwd: from,
    encoding: "utf8",
    maxBuffer: 64 * 1024 * 1024,
  });
  if (git.status !== 0) throw new Error(`git ls-files failed: ${git.stderr || git.error?.message}`);
  for (const file of git.stdout.split("\0").filter((path) => path !== "")) {
    const source = join(from, file);
    // What was deleted but not committed is still in git's list.
    if (!existsSync(source) || !lstatSync(source).isFile()) continue;
    mkdirSync(dirname(join(to, file)), { recursive: true });
    copyFileSync(source, join(to, file));
  }
}

/**
 * The folders that may have modules of their own.
 * @param {string} root
 */
function workspaceFolders(root) {
  const below = (/** @type {string} */ folder) =>
    readdirSync(join(root, folder)).map((name) => join(folder, name));
  return [...below("."), ...below("packages")].filter((folder) =>
    existsSync(join(root, folder, "package.json")),
  );
}

/**
 * Gives a folder of the copy its modules, link by link: a link to the whole folder would lead through the packages'
 * links back to the sources that are not spoilt. Also shows the copy what was built, which some tests start.
 * @param {string} repository
 * @param {string} copy
 * @param {string} folder
 */
function linkModules(repository, copy, folder) {
  const dist = join(repository, folder, "dist");
  if (existsSync(dist)) symlinkSync(dist, join(copy, folder, "dist"));
  const modules = join(repository, folder, "node_modules");
  if (!existsSync(modules)) return;
  for (const name of readdirSync(modules).flatMap((entry) => withScope(modules, entry))) {
    // What a test or a build run has left there is nobody's module.
    if (name.startsWith(".") && name !== ".pnpm" && name !== ".bin") continue;
    const link = join(copy, folder, "node_modules", name);
    mkdirSync(dirname(link), { recursive: true });
    symlinkSync(inCopy(realpathSync(join(modules, name)), repository, copy), link);
  }
}

/**
 * A scope is a folder of links, not a link.
 * @param {string} modules
 * @param {string} entry
 */
function withScope(modules, entry) {
  return entry.startsWith("@") ? readdirSync(join(modules, entry)).map((name) => join(entry, name)) : [entry];
}

/**
 * Where a link of the copy leads: to the copy of a package that is in the repository, else where the original leads.
 * @param {string} target
 * @param {string} repository
 * @param {string} copy
 */
function inCopy(target, repository, copy) {
  const path = relative(realpathSync(repository), target);
  const isInstalled = path.split(sep).includes("node_modules");
  return path.startsWith("..") || isInstalled ? target : join(copy, path);
}

/**
 * The links below a folder that lead into a repository, but not into its installed modules: a package that is tested
 * through one of them is not the copy.
 * @param {string} folder
 * @param {string} repository
 * @returns {string[]}
 */
export function linksBack(folder, repository) {
  const original = realpathSync(repository);
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return linksBack(path, repository);
    if (!entry.isSymbolicLink()) return [];
    const target = relative(original, resolve(folder, readlinkSync(path)));
    const parts = target.split(sep);
    return target.startsWith("..") || parts.includes("node_modules") || parts.includes("dist") ? [] : [path];
  });
}
