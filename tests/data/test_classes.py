from coatnet.data.classes import class_names


def test_a_folders_name_stays_whole():
    assert class_names([("red, ripe", "red, ripe"), ("green", "green")]) == ["red, ripe", "green"]


def test_class_names_are_short_and_unique():
    classes = [("n1", "crane, bird"), ("n2", "crane"), ("n3", "goldfish, Carassius auratus"), ("n4", "")]
    assert class_names(classes) == ["crane (n1)", "crane (n2)", "goldfish", "n4"]
