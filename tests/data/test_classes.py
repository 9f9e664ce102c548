from coatnet.data.classes import class_names


def test_class_names_are_short_and_unique():
    classes = [("n1", "crane, bird"), ("n2", "crane"), ("n3", "goldfish, Carassius auratus"), ("n4", "")]
    assert class_names(classes) == ["crane (n1)", "crane (n2)", "goldfish", "n4"]
