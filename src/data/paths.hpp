#pragma once
// From what the user named to the files that are read.
#include <string>
#include <vector>

namespace sherd::data {

/// The regular files that `paths` name, in order: files as given, folders walked recursively and
/// sorted by the bytes of the path.
///
/// A file is read once however many names (links) lead to it. In folders, names that start with a
/// dot and special files are skipped, and so are `labels.npy`, which belongs to an array beside it,
/// and the files and folders in `skip`, which need not exist.
/// **Errors** DataError listing every path that is missing or unreadable.
[[nodiscard]] std::vector<std::string> files_of(const std::vector<std::string>& paths,
                                                const std::vector<std::string>& skip = {});

}  // namespace sherd::data
