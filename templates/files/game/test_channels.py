import unittest

import channels
from bennu.testing import Stage


class GameTest(unittest.TestCase):
    def test_a_hit_is_a_point_and_a_miss_is_none(self):
        stage = Stage(channels)
        ada = stage.join("game:1", user="Ada")
        bo = stage.join("game:1", user="Bo")
        ada.push("hit", ada.room_state["target"])
        ada.assert_reply("ok")
        bo.push("hit", x=-1, y=0)
        bo.assert_reply("error", {"reason": "missed"})
        self.assertEqual(bo.room_state["scores"], {"Ada": 1, "Bo": 0})

    def test_a_player_who_comes_back_in_time_keeps_the_score(self):
        stage = Stage(channels)
        ada = stage.join("game:1", user="Ada")
        bo = stage.join("game:1", user="Bo")
        ada.push("hit", ada.room_state["target"])
        ada.close()
        stage.advance(9_000)
        self.assertEqual(stage.join("game:1", user="Ada").room_state["scores"], {"Ada": 1, "Bo": 0})
        bo.close()
        stage.advance(11_000)
        self.assertEqual(stage.join("game:1", user="Cy").room_state["scores"], {"Ada": 1, "Cy": 0})
