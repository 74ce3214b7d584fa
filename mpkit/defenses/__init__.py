"""The other side: what a defender can do, before, while and after a model is trained.

*Filters* throw pictures out before training (`filters`), *trainers* change how a model is trained
or what it is shown (`trainers`), and a *certificate* says how many changed pictures cannot matter.
`Defense` names one with its settings, and `defended_victims` counts what it is worth.
"""
