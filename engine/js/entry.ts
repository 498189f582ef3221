// The first module of an instance: it evaluates the script, and exports the contract's callbacks.
import "bennu:globals";
import { callbacks, problemText } from "bennu/callbacks.ts";
import { phase } from "bennu/phase.ts";
import { failed, offers } from "bennu:engine/script@0.1.0";

async function evaluated() {
  try {
    const made = callbacks((await import("bennu:script")).default);
    offers(made.offers);
    phase.isEvaluating = false;
    return made;
  } catch (problem) {
    failed(problemText(problem));
    throw problem;
  }
}

export const { channel, handleOut, handleMessage, handleTopicInfo, handleTick, handleSeat, upgrade, upgradeEntry } = await evaluated();
