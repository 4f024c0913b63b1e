from h import *
e = engine(); m = instrument(e)
def dispose():                      # any function of the application that bears one of the names
    c = e.raw_connection(); c._connection_record.close(); c.close()
dispose(); print("a record closed by hand inside a function called dispose():", show(m)["closes"])
def get_connection(): c = e.raw_connection(); c._connection_record.close(); c.close()
get_connection(); print("... get_connection():", show(m)["closes"])
