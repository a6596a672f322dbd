"""What strategies would have earned on past bars.

:mod:`.batch` goes through a run: it plans units (:mod:`.plan`), brings the history
(:mod:`.history`), has the units computed (:mod:`.local_executor`, in processes of
:mod:`.unit_server`) and keeps what they found (:mod:`.result_store`). :mod:`.unit`, :mod:`.trading`
and :mod:`.unit_server` run next to the user's code and import light modules only.
"""
