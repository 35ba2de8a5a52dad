#include "checkpoint/blocks.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "sherd/base/errors.hpp"
#include "sherd/io/checksum.hpp"

namespace sherd::checkpoint {

Checkpoint::Blocks::Blocks(io::Storage& storage, const std::string& folder,
                           const std::vector<FileEntry>& files)
    : entries_(files) {
  for (const FileEntry& file : files) {
    files_.push_back(io::open_stored(storage, folder + "/" + file.name));
    if (const Bytes size = files_.back().size(); size != file.size)
      throw DataError(
          fmt::format("{}: got {} bytes, need {}", files_.back().path(), size, file.size));
  }
}

Checkpoint::Blocks::Block Checkpoint::Blocks::load(std::uint32_t file, std::uint64_t block) const {
  const FileEntry& entry = entries_[file];
  const Bytes first = block * block_bytes, size = std::min(block_bytes, entry.size - first);
  auto bytes = std::make_shared<std::vector<std::byte>>(size);
  files_[file].read(first, *bytes);
  const std::uint32_t got = io::crc32c(*bytes), want = entry.blocks[block];
  if (got != want)
    throw DataError(
        fmt::format("{}: bytes {} to {} are not as they were written (CRC32C {:08x}, "
                    "need {:08x})",
                    files_[file].path(), first, first + size, got, want));
  return bytes;
}

Checkpoint::Blocks::Block Checkpoint::Blocks::at(std::uint32_t file, std::uint64_t block) {
  std::promise<Block> made;
  {
    std::unique_lock lock(mutex_);
    const auto found = std::ranges::find_if(
        held_, [&](const Held& h) { return h.file == file && h.block == block; });
    if (found != held_.end()) {
      const std::shared_future<Block> bytes = found->bytes;
      lock.unlock();
      return bytes.get();
    }
    if (held_.size() == most) held_.pop_front();
    held_.push_back({file, block, made.get_future().share()});
  }
  try {
    Block bytes = load(file, block);
    made.set_value(bytes);
    return bytes;
  } catch (...) {
    made.set_exception(std::current_exception());
    throw;
  }
}

}  // namespace sherd::checkpoint
