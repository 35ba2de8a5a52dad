#include "data/paths.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <set>
#include <string_view>
#include <utility>

#include "sherd/base/errors.hpp"
#include "sherd/io/file.hpp"

namespace sherd::data {
namespace {

struct CloseFolder {
  void operator()(DIR* folder) const noexcept { ::closedir(folder); }
};

class Walk {
 public:
  explicit Walk(const std::vector<std::string>& skip) {
    struct stat info {};
    for (const std::string& path : skip) {
      if (::stat(path.c_str(), &info) == 0) seen_.insert({info.st_dev, info.st_ino});
    }
  }

  void add_argument(const std::string& path) {
    struct stat info {};
    if (path.empty() || ::stat(path.c_str(), &info) != 0) {
      refuse(path, path.empty() ? "an empty name" : std::strerror(errno));
    } else if (S_ISDIR(info.st_mode)) {
      std::vector<std::string> found;
      walk(path, info, found);
      std::ranges::sort(found, bytes_before);
      for (const std::string& file : found) add_file(file);
    } else if (S_ISREG(info.st_mode)) {
      add_file(path);
    } else {
      refuse(path, "neither a file nor a folder");
    }
  }

  std::vector<std::string> finish() {
    if (bad_.empty()) return std::move(files_);
    std::string message = "data: cannot read " + std::to_string(bad_.size()) + " path(s):";
    constexpr std::size_t most = 20;
    for (std::size_t i = 0; i < std::min(most, bad_.size()); ++i) message += "\n  " + bad_[i];
    if (bad_.size() > most) message += "\n  and " + std::to_string(bad_.size() - most) + " more";
    throw DataError(message);
  }

 private:
  static bool bytes_before(const std::string& a, const std::string& b) {
    return std::ranges::lexicographical_compare(a, b, {}, as_byte, as_byte);
  }
  static unsigned char as_byte(char c) { return static_cast<unsigned char>(c); }

  void refuse(const std::string& path, std::string_view why) {
    bad_.push_back(io::printable(path) + " (" + std::string(why) + ")");
  }

  void add_file(const std::string& path) {
    struct stat info {};
    if (::stat(path.c_str(), &info) != 0 ||
        ::faccessat(AT_FDCWD, path.c_str(), R_OK, AT_EACCESS) != 0) {
      refuse(path, std::strerror(errno));
    } else if (seen_.insert({info.st_dev, info.st_ino}).second) {
      files_.push_back(path);
    }
  }

  void walk(const std::string& folder, const struct stat& info, std::vector<std::string>& found) {
    // A link that leads back up would go round for ever.
    if (!seen_.insert({info.st_dev, info.st_ino}).second) return;
    const std::unique_ptr<DIR, CloseFolder> open(::opendir(folder.c_str()));
    if (!open) return refuse(folder, std::strerror(errno));
    std::vector<std::string> names;
    while (const dirent* entry = ::readdir(open.get())) names.emplace_back(entry->d_name);
    std::ranges::sort(names, bytes_before);
    for (const std::string& name : names) {
      if (name.starts_with('.') || name == "labels.npy") continue;
      visit(folder + (folder.ends_with('/') ? "" : "/") + name, found);
    }
  }

  void visit(const std::string& path, std::vector<std::string>& found) {
    struct stat info {};
    if (::stat(path.c_str(), &info) != 0) return refuse(path, std::strerror(errno));
    if (S_ISDIR(info.st_mode)) return walk(path, info, found);
    if (S_ISREG(info.st_mode)) found.push_back(path);
  }

  std::set<std::pair<dev_t, ino_t>> seen_;
  std::vector<std::string> files_, bad_;
};

}  // namespace

std::vector<std::string> files_of(const std::vector<std::string>& paths,
                                  const std::vector<std::string>& skip) {
  Walk walk(skip);
  for (const std::string& path : paths) walk.add_argument(path);
  return walk.finish();
}

}  // namespace sherd::data
