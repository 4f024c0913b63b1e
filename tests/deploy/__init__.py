"""The files of deploy/, checked by the tools that read them, without the engines that would run them."""
