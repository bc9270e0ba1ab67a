cimport cython

from _native.answers cimport is_plain
from _native.jsonscan cimport Fields, Members
from backends.dialects.gist cimport Gist, Gists


@cython.locals(fields=Fields, members=Members, gist=Gist)
cpdef tuple decode(bytes body, object read, Gists gists)
cpdef tuple rename_model(Members members, str name)
cpdef tuple ask_usage(Members members)
cpdef tuple set_number(Members members, str name, long long value)
cpdef bytes splice(bytes body, list edits)
cdef _check_message(object message, str where)
