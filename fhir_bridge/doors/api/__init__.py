"""
The API: for programs that trigger transfers and follow them.

It reads requests strictly, asks who may, hands over to the bridge and answers
with what is written down. No rule of the field is decided here. An answer to a
fault is an OperationOutcome with a stable code and one sentence; it never
repeats what the caller sent.
"""
