"""Mutation testing of the rooms that judge: which change of a line would no test see?"""
