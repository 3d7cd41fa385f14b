import { codecContract } from "@msm/conformance";
import { jsonCodec } from "@msm/core";

codecContract("json", jsonCodec);
