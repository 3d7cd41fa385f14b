import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

/** A certificate with its key: as files, for a server, and as text. */
export interface Certificate {
  readonly certFile: string;
  readonly keyFile: string;
  readonly cert: string;
  readonly key: string;
}

/** Certificates of one authority, in a folder of their own. */
export interface Certificates {
  /** The authority that signed the others. */
  readonly authority: Certificate;
  /** For `localhost` and 127.0.0.1. */
  readonly server: Certificate;
  readonly client: Certificate;
  /** Deletes the folder. */
  remove(): Promise<void>;
}

const run = promisify(execFile);

/** Makes them with openssl. They are good for a day. */
export async function makeCertificates(): Promise<Certificates> {
  const folder = await mkdtemp(join(tmpdir(), "msm-certificates-"));
  const openssl = (...args: string[]) => run("openssl", args, { cwd: folder });
  const newKey = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
  await openssl(
    ...["req", "-x509", ...newKey, "-keyout", "authority.key", "-out", "authority.pem"],
    ...["-days", "1", "-subj", "/CN=authority"],
  );
  const signed = async (name: string, extensions: string) => {
    await openssl("req", ...newKey, "-keyout", `${name}.key`, "-out", `${name}.csr`, "-subj", `/CN=${name}`);
    await writeFile(join(folder, `${name}.ext`), extensions);
    await openssl(
      ...["x509", "-req", "-in", `${name}.csr`, "-CA", "authority.pem", "-CAkey", "authority.key"],
      ...["-CAcreateserial", "-days", "1", "-extfile", `${name}.ext`, "-out", `${name}.pem`],
    );
    return read(name);
  };
  const read = async (name: string): Promise<Certificate> => {
    const [certFile, keyFile] = [join(folder, `${name}.pem`), join(folder, `${name}.key`)];
    return {
      certFile,
      keyFile,
      cert: await readFile(certFile, "utf8"),
      key: await readFile(keyFile, "utf8"),
    };
  };
  return {
    authority: await read("authority"),
    server: await signed("server", "subjectAltName=DNS:localhost,IP:127.0.0.1\n"),
    client: await signed("client", "extendedKeyUsage=clientAuth\n"),
    remove: () => rm(folder, { recursive: true, force: true }),
  };
}
