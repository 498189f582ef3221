// The first module of an instance: it evaluates the script, and exports the contract's callbacks.
import "bennu:globals";
import { callbacks, problemText } from "bennu/callbacks.ts";
import { offers } from "bennu:engine/script@0.1.0";

async function evaluated() {
  try {
    const made = callbacks((await import("bennu:script")).default);
    offers(made.offers);
    return made;
  } catch (problem) {
    throw problemText(problem);
  }
}

export const { channel, handleOut, handleMessage, handleTick, handleSeat, upgrade, upgradeEntry } = await evaluated();
