import unittest

import channels
from bennu.testing import Stage


class InboxTest(unittest.TestCase):
    def test_a_note_waits_until_it_is_read(self):
        stage = Stage(channels)
        status, response = stage.send("inbox:ada", "notify", text="hi")
        self.assertEqual(status, "ok")

        ada = stage.join("inbox:ada")
        self.assertEqual([note["text"] for note in ada.response["unread"]], ["hi"])
        ada.push("read", id=response["id"])
        ada.assert_broadcast("read", id=response["id"])
        self.assertEqual(stage.join("inbox:ada").response, {"unread": []})

    def test_a_user_tells_another_one_something(self):
        stage = Stage(channels)
        ada = stage.join("inbox:ada")
        bo = stage.join("inbox:bo")
        ada.push("tell", user="bo", text="tea?")
        bo.assert_broadcast("notified", text="tea?")
        ada.refute("notified")
