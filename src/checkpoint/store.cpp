#include "sherd/checkpoint/store.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <utility>

#include "sherd/base/errors.hpp"

namespace sherd::checkpoint {
namespace {

constexpr std::string_view visible = "step-", hidden = ".saving-", doomed = ".removed-";

std::optional<std::uint64_t> step_of(std::string_view name) {
  if (!name.starts_with(visible)) return {};
  name.remove_prefix(visible.size());
  std::uint64_t step = 0;
  const auto end = std::from_chars(name.data(), name.data() + name.size(), step);
  if (end.ec != std::errc{} || end.ptr != name.data() + name.size()) return {};
  return folder_name(step) == fmt::format("{}{}", visible, name) ? std::optional(step)
                                                                 : std::nullopt;
}

std::string part_name(int rank) { return fmt::format(".part-{:03}.json", rank); }

// Small files: through the page cache, and synced where they stay.
void write_file(io::Storage& storage, const std::string& path, std::string_view text, bool sync) {
  io::Stored file = io::create_stored(storage, path, io::Cache::through);
  file.write(0, std::as_bytes(std::span(text.data(), text.size())));
  if (sync) file.sync();
  file.close();
}

std::string cause_of(int answer) { return std::strerror(-answer); }

std::string parent_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  return slash == path.npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
}

}  // namespace

std::string folder_name(std::uint64_t step) { return fmt::format("{}{:012}", visible, step); }

std::vector<Found> list(io::Storage& storage, const std::string& root) {
  std::vector<std::string> names;
  const int answer = storage.list(root, names);
  if (answer == -ENOENT) return {};
  if (answer < 0) io::throw_stored(root, "opendir", answer);
  std::vector<Found> found;
  for (const std::string& name : names) {
    if (const auto step = step_of(name)) found.push_back({*step, root + "/" + name});
  }
  std::ranges::sort(found, std::greater{}, &Found::step);
  return found;
}

Store::Store(io::Storage& storage, std::string root) : storage_(storage), root_(std::move(root)) {
  while (root_.size() > 1 && root_.back() == '/') root_.pop_back();
}

// A folder that a power loss takes away takes its checkpoints with it.
void Store::make_root() const {
  const auto refuse = [](const std::string& path, const char* done, int answer) {
    throw ConfigError({fmt::format("--save: cannot {} {} ({})", done, path, cause_of(answer))});
  };
  for (std::size_t at = root_.find('/', 1);; at = root_.find('/', at + 1)) {
    const std::string path = root_.substr(0, at);
    const int made = storage_.make_folder(path);
    const bool last = at == root_.npos;
    if (made < 0 && made != -EEXIST && last) refuse(path, "make", made);
    if (made == 0 || last) {
      const std::string parent = parent_of(path);
      const int folder = storage_.open_folder(parent);
      const io::Stored held(storage_, parent, folder);
      const int answer = folder < 0 ? folder : storage_.sync(folder);
      if (made == 0 && answer < 0) refuse(parent, "sync", answer);
    }
    if (last) return;
  }
}

void Store::enter() {
  make_root();
  const int folder = storage_.open_folder(root_);
  if (folder < 0)
    throw ConfigError({"--save: cannot use " + root_ + " (" + cause_of(folder) + ")"});
  held_ = io::Stored(storage_, root_, folder);
  const int got = storage_.lock(folder);
  if (got == -EAGAIN || got == -EACCES)
    throw ConfigError({"--save: another run saves into " + root_ + "; give each run its own"});
  // Without a lock nobody knows whose drafts these are.
  if (got < 0) throw ConfigError({"--save: cannot lock " + root_ + " (" + cause_of(got) + ")"});
  for (const std::string& name : names(root_)) {
    if (name.starts_with(hidden) || name.starts_with(doomed)) remove(root_ + "/" + name);
  }
}

std::vector<std::string> Store::names(const std::string& folder) const {
  std::vector<std::string> all;
  const int answer = storage_.list(folder, all);
  if (answer < 0) io::throw_stored(folder, "opendir", answer);
  std::ranges::sort(all);
  return all;
}

std::string Store::draft(std::uint64_t step, std::uint64_t attempt) const {
  return fmt::format("{}/{}{}-{}", root_, hidden, folder_name(step), attempt);
}

void Store::put_part(const std::string& draft, Rank rank, const Contents& part) {
  write_file(storage_, draft + "/" + part_name(rank), to_text(part), false);
}

std::string Store::publish(const std::string& draft, Manifest manifest, Bytes& bytes) {
  std::vector<Contents> parts;
  for (int rank = 0; rank < manifest.world; ++rank) {
    const std::string path = draft + "/" + part_name(rank);
    const io::Stored file = io::open_stored(storage_, path);
    std::string text(file.size(), '\0');
    file.read(0, std::as_writable_bytes(std::span(text)));
    parts.push_back(parse_part(path, text));
  }
  manifest.contents = merged(std::move(parts));
  for (int rank = 0; rank < manifest.world; ++rank) {
    const std::string path = draft + "/" + part_name(rank);
    if (const int answer = storage_.remove(path); answer < 0)
      io::throw_stored(path, "unlink", answer);
  }
  const std::string text = to_text(manifest);
  write_file(storage_, draft + "/" + manifest_name, text, true);
  io::open_stored_folder(storage_, draft).sync();
  const std::string folder = root_ + "/" + folder_name(manifest.progress.step);
  const std::string replaced = appear(draft, folder);
  bytes = text.size();
  for (const FileEntry& file : manifest.contents.files) bytes += file.size;
  try {
    io::open_stored_folder(storage_, root_).sync();
  } catch (const DataError&) {
    // A crash may yet show what was replaced: it stays whole, out of the caller's reach.
    if (!replaced.empty())
      (void)storage_.rename(
          replaced, fmt::format("{}/{}{}", root_, doomed, folder_name(manifest.progress.step)));
    throw;
  }
  if (!replaced.empty()) discard(replaced);
  return folder;
}

// A run that went on from an older one comes to a step again: at no moment is there none of it.
std::string Store::appear(const std::string& draft, const std::string& folder) {
  int answer = storage_.rename(draft, folder);
  if (answer >= 0) return "";
  std::string replaced = draft;
  if (answer == -EEXIST) answer = storage_.exchange(draft, folder);
  if (answer == -EINVAL) {  // the file system cannot: one after the other
    replaced = aside(folder);
    answer = storage_.rename(draft, folder);
    if (answer < 0) (void)storage_.rename(replaced, folder);
  }
  if (answer < 0) io::throw_stored(folder, "rename", answer);
  return replaced;
}

std::string Store::aside(const std::string& folder) {
  const std::string path =
      fmt::format("{}/{}{}", root_, doomed, folder.substr(folder.rfind('/') + 1));
  int answer = storage_.rename(folder, path);
  if (answer == -EEXIST) {  // one of that step could not be removed before
    remove(path);
    answer = storage_.rename(folder, path);
  }
  if (answer < 0) io::throw_stored(folder, "rename", answer);
  return path;
}

void Store::remove(const std::string& folder) {
  std::string path = folder;
  if (!folder.substr(folder.rfind('/') + 1).starts_with('.')) {
    path = aside(folder);
    // Half of it must not become visible again.
    io::open_stored_folder(storage_, root_).sync();
  }
  for (const std::string& inside : names(path)) {
    const std::string file = path + "/" + inside;
    if (const int answer = storage_.remove(file); answer < 0)
      io::throw_stored(file, "unlink", answer);
  }
  if (const int answer = storage_.remove(path); answer < 0) io::throw_stored(path, "rmdir", answer);
}

void Store::discard(const std::string& folder) noexcept {
  try {
    remove(folder);
  } catch (const std::exception&) {
  }
}

// Newer ones are of another run of these steps, or damaged: none of them may stand for this one.
void Store::keep(std::size_t count, std::uint64_t step) {
  std::vector<Found> all = list(storage_, root_);
  std::erase_if(all, [&](const Found& found) { return found.step > step; });
  for (std::size_t i = std::max<std::size_t>(count, 1); i < all.size(); ++i) remove(all[i].folder);
}

}  // namespace sherd::checkpoint
