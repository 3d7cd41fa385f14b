import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findProgram } from "@msm/conformance";

/** A certificate and its key, as paths and as text. */
interface Certificate {
  readonly certPath: string;
  readonly keyPath: string;
  readonly cert: string;
  readonly key: string;
}

/** What TLS needs on both sides. */
export interface Certificates {
  readonly authority: Certificate;
  /** Another authority, which nobody here trusts. */
  readonly stranger: Certificate;
  /** For `localhost` and 127.0.0.1. */
  readonly server: Certificate;
  readonly client: Certificate;
  remove(): void;
}

/** Makes certificates of a test's own, by openssl. */
export function makeCertificates(): Certificates {
  const folder = mkdtempSync(join(tmpdir(), "msm-tls-"));
  const openssl = (...args: string[]) =>
    execFileSync(findProgram("openssl") ?? "openssl", args, { cwd: folder, stdio: "pipe" });
  const read = (name: string): Certificate => {
    const [certPath, keyPath] = [join(folder, `${name}.crt`), join(folder, `${name}.key`)];
    return { certPath, keyPath, cert: readFileSync(certPath, "utf8"), key: readFileSync(keyPath, "utf8") };
  };
  const authority = (name: string) => {
    const subject = ["-subj", `/CN=${name}`, "-days", "2"];
    openssl("req", "-x509", ...newKey(name), ...subject, "-out", `${name}.crt`);
    return read(name);
  };
  const signed = (name: string, extension: string) => {
    writeFileSync(join(folder, `${name}.ext`), extension);
    openssl("req", "-new", ...newKey(name), "-subj", `/CN=${name}`, "-out", `${name}.csr`);
    const by = ["-CA", "authority.crt", "-CAkey", "authority.key", "-CAcreateserial", "-days", "2"];
    openssl("x509", "-req", "-in", `${name}.csr`, ...by, "-extfile", `${name}.ext`, "-out", `${name}.crt`);
    return read(name);
  };
  return {
    authority: authority("authority"),
    stranger: authority("stranger"),
    server: signed("server", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
    client: signed("client", "extendedKeyUsage=clientAuth"),
    remove: () => rmSync(folder, { recursive: true }),
  };
}

const newKey = (name: string) => [
  ...["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"],
  ...["-keyout", `${name}.key`],
];
