import { adapterContract } from "@msm/conformance";
import express from "express";
import express4 from "express4";
import { contractApp } from "./contract-app.js";
import { nodeHttpApp } from "./node-http-app.js";
import { serve } from "./serve.js";

adapterContract("Express 5", (given) => serve(contractApp(express(), given)));
adapterContract("Express 4", (given) => serve(contractApp(express4(), given)));
adapterContract("node:http", (given) => serve(nodeHttpApp(given)));
