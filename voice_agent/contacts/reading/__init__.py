"""Files of contacts: from bytes to drafts, refusals and warnings, in a child process that may die of them.

Others use `model` (what is asked and answered), `columns.check_mapping` (is what somebody corrected usable), and of
`process` three functions:

    inspect_file(path, overrides, options)  what the file is, its columns with examples, what each is taken for
    preview_file(path, order)               first and worst rows, each with the repair or the refusal
    read_chunks(path, order)                every row from `order.start_row`, in chunks of 500

Inside, one file goes this way:

    sniffing    bytes -> FileFormat: kind, encoding, delimiter, header
    opening     path and format -> a Table: column names, and a stream of rows in constant memory
    columns     names and examples -> Mapping
    cleaning    a row and the Mapping -> ContactDraft, or RowRefusal
    worker      the loop over all of it, in the child (`python -m voice_agent.contacts.reading`)

No database, no network, no clock. What is malicious is refused by counting before it is built: sizes while inflating,
columns, cells, depth; limits of the process are the last line (decision 0021 has the figures).
"""
