// Lets Node run plugins and their tests: `node --import ./vendor/bennu/testing/register.mjs --test tests/*.test.ts`.
import { register } from "node:module";

register("./hooks.mjs", import.meta.url);
