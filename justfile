# The doors of the house. Each is a word of xtask, and CI uses the same words.

# What each of them does.
default:
    @cargo xtask help

check:
    cargo xtask check

test:
    cargo xtask test

tidy *arguments:
    cargo xtask tidy {{arguments}}

interop *names:
    cargo xtask interop {{names}}

fmt:
    cargo xtask fmt
