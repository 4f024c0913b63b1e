"""What other monitors of pools get wrong: for each fault that was found in one of them, the statement that holds here.

A test names its statement, B-1 to B-38; the numbers are those of the issue that began this package. What needs a real
server, a second process or HTTP stands with the tests of those, under the same numbers.
"""
