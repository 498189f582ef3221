import unittest

import channels
from bennu.testing import NotJoined, Stage


class ChatTest(unittest.TestCase):
    def test_a_message_reaches_everybody_in_the_room(self):
        stage = Stage(channels)
        ada = stage.join("room:lobby", user="Ada")
        bo = stage.join("room:lobby", user="Bo")
        ada.assert_broadcast("joined", user="Bo")
        self.assertEqual(list(stage.presences("room:lobby")), ["Ada", "Bo"])

        ada.push("new_msg", body="hi")
        ada.assert_reply("ok")
        bo.assert_broadcast("new_msg", user="Ada", body="hi")

        ada.close()
        bo.assert_broadcast("left", user="Ada")

    def test_a_client_without_a_name_cannot_join(self):
        with self.assertRaisesRegex(NotJoined, "user: missing, expected a string"):
            Stage(channels).join("room:lobby")
