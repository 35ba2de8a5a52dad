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

Checkpoint::Blocks::~Blocks() {
  {
    const std::scoped_lock lock(mutex_);
    ending_ = true;
  }
  news_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

Checkpoint::Blocks::Block Checkpoint::Blocks::load(const Held& what) const {
  const FileEntry& entry = entries_[what.file];
  const Bytes first = what.block * block_bytes, size = std::min(block_bytes, entry.size - first);
  auto bytes = std::make_shared<std::vector<std::byte>>(size);
  files_[what.file].read(first, *bytes);
  const std::uint32_t got = io::crc32c(*bytes), need = entry.blocks[what.block];
  if (got != need)
    throw DataError(
        fmt::format("{}: bytes {} to {} are not as they were written (CRC32C {:08x}, "
                    "need {:08x})",
                    files_[what.file].path(), first, first + size, got, need));
  return bytes;
}

Checkpoint::Blocks::Handle Checkpoint::Blocks::find(std::uint32_t file, std::uint64_t block) const {
  const auto at = std::ranges::find_if(
      held_, [&](const Handle& h) { return h->file == file && h->block == block; });
  return at == held_.end() ? nullptr : *at;
}

Checkpoint::Blocks::Handle Checkpoint::Blocks::want(std::uint32_t file, std::uint64_t block) {
  if (Handle held = find(file, block)) return held;
  auto made = std::make_shared<Held>();
  made->file = file;
  made->block = block;
  held_.push_back(made);
  wanted_.push_back(made);
  if (held_.size() > most) held_.pop_front();
  return made;
}

Checkpoint::Blocks::Block Checkpoint::Blocks::at(std::uint32_t file, std::uint64_t block) {
  std::shared_future<Block> bytes;
  {
    const std::scoped_lock lock(mutex_);
    while (threads_.size() < readers) threads_.emplace_back([this] { serve(); });
    bytes = want(file, block)->bytes;
    const std::uint64_t blocks = entries_[file].blocks.size();
    for (std::uint64_t next = block + 1; next < std::min(blocks, block + 1 + ahead); ++next)
      (void)want(file, next);
  }
  news_.notify_all();
  return bytes.get();
}

void Checkpoint::Blocks::serve() {
  for (;;) {
    Handle now;
    {
      std::unique_lock lock(mutex_);
      news_.wait(lock, [&] { return ending_ || !wanted_.empty(); });
      if (ending_) return;
      now = std::move(wanted_.front());
      wanted_.pop_front();
    }
    try {
      now->made.set_value(load(*now));
    } catch (...) {
      now->made.set_exception(std::current_exception());
    }
  }
}

}  // namespace sherd::checkpoint
