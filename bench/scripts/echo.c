// The event `echo` of the plugin that the benchmarks use, in C: each payload is handed back as it is.
#include <stdlib.h>
#include <string.h>
#include "plugin.h"

void exports_bennu_channel_channel_describe(exports_bennu_channel_channel_list_route_t *routes) {
  routes->ptr = calloc(1, sizeof *routes->ptr);
  routes->len = 1;
  plugin_string_dup(&routes->ptr->pattern, "bench:*");
}

bool exports_bennu_channel_channel_join(uint64_t member, plugin_string_t *topic, bennu_channel_types_payload_t *params,
                                        plugin_list_u8_t *room, bennu_channel_types_admission_t *admission, plugin_string_t *failure) {
  plugin_string_free(topic);
  bennu_channel_types_payload_free(params);
  *admission = (bennu_channel_types_admission_t){ .tag = BENNU_CHANNEL_TYPES_ADMISSION_ADMITTED };
  plugin_string_dup(&admission->val.admitted.response.val.json, "{}");
  return true;
}

bool exports_bennu_channel_channel_handle_in(bennu_channel_types_membership_t *member, plugin_string_t *event,
                                             bennu_channel_types_payload_t *payload, plugin_string_t *ref,
                                             bennu_channel_types_outcome_t *outcome, plugin_string_t *failure) {
  *outcome = (bennu_channel_types_outcome_t){ .answer.tag = BENNU_CHANNEL_TYPES_ANSWER_REPLY };
  plugin_string_dup(&outcome->answer.val.reply.status, "ok");
  // The bindings free the payload of the reply, so it moves.
  outcome->answer.val.reply.payload = *payload;
  bennu_channel_types_membership_free(member);
  plugin_string_free(event);
  if (ref) plugin_string_free(ref);
  return true;
}

bool exports_bennu_channel_channel_handle_info(bennu_channel_types_membership_t *member, bennu_channel_types_message_t *message,
                                               bennu_channel_types_outcome_t *outcome, plugin_string_t *failure) {
  bennu_channel_types_membership_free(member);
  bennu_channel_types_message_free(message);
  *outcome = (bennu_channel_types_outcome_t){ .answer.tag = BENNU_CHANNEL_TYPES_ANSWER_NONE };
  return true;
}

bool exports_bennu_channel_channel_terminate(bennu_channel_types_membership_t *member, bennu_channel_types_ending_t *ending,
                                             plugin_option_list_u8_t *room, plugin_string_t *failure) {
  bennu_channel_types_membership_free(member);
  bennu_channel_types_ending_free(ending);
  room->is_some = false;
  return true;
}
