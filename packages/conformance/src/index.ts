export { type FaultyStorage, faulty, type StorageCall, type StorageVerb } from "./faulty.js";
