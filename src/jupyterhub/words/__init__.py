"""The cellar: names, values, errors and rules that every wing shares. Pure: no I/O, no tornado, no database."""
