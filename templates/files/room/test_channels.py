import unittest

import channels
from bennu.testing import Stage


class PollTest(unittest.TestCase):
    def test_all_members_see_the_same_counts(self):
        stage = Stage(channels)
        ada = stage.join("poll:drinks", user="Ada")
        bo = stage.join("poll:drinks", user="Bo")

        ada.push("vote", choice="tea")
        bo.push("vote", choice="tea")
        ada.push("vote", choice="water")
        ada.assert_reply("ok")
        for member in (ada, bo):
            self.assertEqual(member.room_state["counts"], {"tea": 1, "coffee": 0, "water": 1})

    def test_a_round_ends_although_nobody_is_there(self):
        stage = Stage(channels)
        ada = stage.join("poll:drinks", user="Ada")
        ada.push("vote", choice="water")
        ada.close()
        stage.advance(60_000)

        bo = stage.join("poll:drinks", user="Bo")
        self.assertEqual(bo.room_state, {"counts": {"tea": 0, "coffee": 0, "water": 0}, "winner": "water"})

    def test_only_the_choices_can_be_voted_for(self):
        ada = Stage(channels).join("poll:drinks", user="Ada")
        ada.push("vote", choice="milk")
        ada.assert_reply("error", {"reason": "choice: expected one of tea, coffee, water"})
