import * as tokens from "bennu:channel/token@0.1.0";
import { text } from "./payload.ts";
import { onlyInCallbacks } from "./phase.ts";

/** Why a token isn't valid. */
export class TokenProblem extends Error {
  /** `missing`: there is none. `invalid`: it wasn't signed with this secret and salt. `expired`: it is too old. */
  readonly problem: "missing" | "invalid" | "expired";
  constructor(problem: "missing" | "invalid" | "expired") {
    super(problem);
    this.name = "TokenProblem";
    this.problem = problem;
  }
}

/** Signed tokens in the format of `Phoenix.Token`. The host needs a `secret_key_base`; without it, both are a fault. */
export const token = {
  /** Signs a JSON value. The maximum age is in seconds; the default is a day. */
  sign(salt: string, value: unknown, maxAge?: number): string {
    onlyInCallbacks("token.sign");
    const json = JSON.stringify(value);
    if (json === undefined) throw new TypeError(`${typeof value} is not a JSON value`);
    return tokens.sign(text("a salt", salt), json, maxAge);
  },
  /** Returns the value that was signed. Throws a `TokenProblem`. The maximum age, in seconds, replaces the one in the token. */
  verify<T = any>(salt: string, token: string, maxAge?: number): T {
    onlyInCallbacks("token.verify");
    // A client can send any value as its token, and the host takes only a text.
    if (token === undefined || token === null) throw new TokenProblem("missing");
    if (typeof token !== "string" || !token.isWellFormed()) throw new TokenProblem("invalid");
    let json;
    try {
      json = tokens.verify(text("a salt", salt), token, maxAge);
    } catch (problem: any) {
      // The contract's error is thrown as it is, or as the payload of an error.
      const why = problem?.payload ?? problem;
      if (why === "missing" || why === "invalid" || why === "expired") throw new TokenProblem(why);
      throw problem;
    }
    return JSON.parse(json);
  },
};
