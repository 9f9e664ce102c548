"""The machine: devices, memory, processes, files and what a person sees. Nothing here can change a weight.

So no stage depends on this folder, and a change in it runs nothing again.
"""
