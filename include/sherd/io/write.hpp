#pragma once
// Files that appear whole or not at all.
#include <cstddef>
#include <span>
#include <string>

namespace sherd::io {

/// Replaces `path` by `content`: a reader, or a crash at any time, sees the old file or the new
/// one, never a part.
///
/// **Order** durable on return: file and folder are synced.
/// **Errors** DataError naming the file and the call that failed; `path` is then as it was, and
/// the temporary file beside it is gone.
void write_atomically(const std::string& path, std::span<const std::byte> content);

}  // namespace sherd::io
