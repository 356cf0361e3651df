"""`botdata watch`: its facts, its guard, its figures and its moves."""
