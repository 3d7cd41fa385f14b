import { adapterContract } from "@msm/conformance";
import Koa from "koa";
import Koa2 from "koa2";
import { contractApp } from "./contract-app.js";
import { serve } from "./serve.js";

adapterContract("Koa 3", (given) => serve(contractApp(new Koa(), given)));
adapterContract("Koa 2", (given) => serve(contractApp(new Koa2(), given)));
