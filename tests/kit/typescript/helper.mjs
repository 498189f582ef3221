// A module that is no script, although it says how one begins:
//
//     import { channel, plugin } from "bennu";
//     export default plugin({ "a:*": channel({}) });

/** What Node has while a helper is evaluated. */
export default typeof process.env;
