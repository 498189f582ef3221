// The first module of an instance: it evaluates the script, and exports the contract's callbacks.
import "bennu:globals";
import { callbacks, gatekeeperCallbacks } from "bennu/callbacks.ts";
import { Gatekeeper } from "bennu/gatekeeper.ts";
import { phase } from "bennu/phase.ts";
import { problemText } from "bennu/problem.ts";
import { failed, offers } from "bennu:engine/script@0.1.0";

async function evaluated(): Promise<any> {
  try {
    const given = (await import("bennu:script")).default;
    const made = given instanceof Gatekeeper ? gatekeeperCallbacks(given) : callbacks(given);
    offers(made.offers);
    phase.isEvaluating = false;
    return made;
  } catch (problem) {
    failed(problemText(problem));
    // The host has the text. The script's own error can have one that the engine can't pass on.
    throw new Error("the script can't be evaluated");
  }
}

export const { channel, handleOut, handleMessage, handleTopicInfo, handleTick, handleSeat, upgrade, upgradeEntry, connect } = await evaluated();
