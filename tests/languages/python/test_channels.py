import unittest

import channels
from bennu.testing import Stage


class MemberTest(unittest.TestCase):
    def test_a_channel(self):
        stage = Stage(channels)
        ada = stage.join("room:1", user="Ada")
        ada.push("new_msg", body="hi")
        ada.assert_reply("ok", {"sent": 1, "messages": 1})
        ada.push("remind", ms=1000)
        stage.advance(1000)
        ada.assert_push("reminder", payload={"sent": 1})
        ada.push("crash")
        self.assertEqual(len(stage.faults), 1)
