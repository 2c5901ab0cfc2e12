//! What the store is asked.

use sha2::{Digest, Sha256};
use tidings_core::{
    ids::UserId,
    ports::{Cursor, GraphError, SocialGraphStore},
};

use super::{
    answer::{self, Answer},
    scope::Scope,
};

/// Followees up to which a user's are kept as a whole: the first page, and whether the user follows
/// anybody, are then one answer to the store, and one that is asked often.
pub(super) const FOLLOWEES: usize = 512;
/// A name that would be longer is a digest.
const NAME_BYTES: usize = 320;

/// A list that comes in pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum List {
    Followers,
    Following,
    Friends,
    Common,
    Known,
    Blocks,
    Mutes,
}

const LISTS: [List; 7] = [
    List::Followers,
    List::Following,
    List::Friends,
    List::Common,
    List::Known,
    List::Blocks,
    List::Mutes,
];

/// What the store is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Question {
    Counts(UserId),
    /// Whom the user follows, if they are not more than [`FOLLOWEES`].
    Followees(UserId),
    /// Which of these the user follows.
    AreFollowing(UserId, Vec<UserId>),
    /// Which of these must not be told what the user does.
    Hidden(UserId, Vec<UserId>),
    /// A page of the list of the user, or of the user and another.
    Page {
        list: List,
        user: UserId,
        other: Option<UserId>,
        cursor: Option<Cursor>,
        limit: usize,
    },
}

impl Question {
    pub(super) fn page(
        list: List,
        users: (&UserId, Option<&UserId>),
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Self {
        let (user, other) = (users.0.clone(), users.1.cloned());
        Self::Page { list, user, other, cursor: cursor.cloned(), limit }
    }

    /// The label of metrics.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Counts(_) => "counts",
            Self::Followees(_) => "followees",
            Self::AreFollowing(..) => "is_following",
            Self::Hidden(..) => "hidden",
            Self::Page { list, .. } => match list {
                List::Followers => "followers",
                List::Following => "following",
                List::Friends => "friends",
                List::Common => "common",
                List::Known => "known",
                List::Blocks => "blocks",
                List::Mutes => "mutes",
            },
        }
    }

    /// What the answer depends on, besides the graph as a whole: one or two.
    ///
    /// A follow belongs to two lists, and a change of it to both. Whether it exists depends on that of
    /// the follower alone, then, which is the quieter one where the followee is known to many.
    pub(super) fn scopes(&self) -> Vec<Scope> {
        let following = |user: &UserId| Scope::Following(user.clone());
        let followers = |user: &UserId| Scope::Followers(user.clone());
        // Nobody can list who has blocked or muted a user that is erased: all of these answers end then.
        let aversions = |user: &UserId| vec![Scope::Aversions(user.clone()), Scope::AllAversions];
        match self {
            Self::Counts(user) => vec![following(user), followers(user)],
            Self::Followees(user) | Self::AreFollowing(user, _) => vec![following(user)],
            Self::Hidden(user, _) => aversions(user),
            Self::Page { list, user, other, .. } => {
                let other = other.as_ref().unwrap_or(user);
                match list {
                    List::Followers => vec![followers(user)],
                    List::Following => vec![following(user)],
                    List::Friends => vec![following(user), followers(user)],
                    List::Common => vec![following(user), following(other)],
                    List::Known => vec![following(user), followers(other)],
                    List::Blocks | List::Mutes => aversions(user),
                }
            }
        }
    }

    /// Asks the store.
    pub(super) async fn ask(&self, store: &dyn SocialGraphStore) -> Result<Answer, GraphError> {
        Ok(match self {
            Self::Counts(user) => answer::of_counts(store.counts(user).await?),
            Self::Followees(user) => {
                answer::of_followees(&store.get_following(user, None, FOLLOWEES).await?)
            }
            Self::AreFollowing(user, others) => {
                answer::of_flags(&store.are_following(user, others).await?)
            }
            Self::Hidden(user, others) => {
                answer::of_hidden(&store.hidden_from(user, others).await?)
            }
            Self::Page { list, user, other, cursor, limit } => {
                let (cursor, limit) = (cursor.as_ref(), *limit);
                let other = other.as_ref().unwrap_or(user);
                match list {
                    List::Followers => {
                        let page = store.get_followers(user, cursor, limit).await?;
                        answer::of_page(&page, |it| (&it.follower, Some(it.at)))
                    }
                    List::Following => {
                        let page = store.get_following(user, cursor, limit).await?;
                        answer::of_page(&page, |it| (&it.followee, Some(it.at)))
                    }
                    List::Friends => {
                        let page = store.get_mutual_follows(user, cursor, limit).await?;
                        answer::of_page(&page, |it| (it, None))
                    }
                    List::Common => {
                        let page = store.get_common_follows(user, other, cursor, limit).await?;
                        answer::of_page(&page, |it| (it, None))
                    }
                    List::Known => {
                        let page = store.get_followers_you_know(user, other, cursor, limit).await?;
                        answer::of_page(&page, |it| (it, None))
                    }
                    List::Blocks => {
                        let page = store.list_blocks(user, cursor, limit).await?;
                        answer::of_page(&page, |it| (&it.blocked, Some(it.at)))
                    }
                    List::Mutes => {
                        let page = store.list_mutes(user, cursor, limit).await?;
                        answer::of_page(&page, |it| (&it.muted, Some(it.at)))
                    }
                }
            }
        })
    }

    /// A name that no other question has, as part of a key: at most 320 bytes.
    pub(super) fn name(&self) -> Vec<u8> {
        let mut name = b"a".to_vec();
        let mut put = |text: &str| {
            // An id has 128 bytes at most and a cursor 256: two bytes are enough.
            let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
            name.extend_from_slice(&length.to_be_bytes());
            name.extend_from_slice(text.as_bytes());
        };
        match self {
            Self::Counts(user) => {
                put("c");
                put(user.as_str());
            }
            Self::Followees(user) => {
                put("f");
                put(user.as_str());
            }
            Self::AreFollowing(user, others) | Self::Hidden(user, others) => {
                put(if matches!(self, Self::Hidden(..)) { "h" } else { "p" });
                put(user.as_str());
                others.iter().for_each(|other| put(other.as_str()));
            }
            Self::Page { list, user, other, cursor, limit } => {
                let list = LISTS.iter().position(|it| it == list).unwrap_or_default();
                put(&list.to_string());
                put(user.as_str());
                put(other.as_ref().map_or("", UserId::as_str));
                put(cursor.as_ref().map_or("", Cursor::as_str));
                put(&limit.to_string());
            }
        }
        if name.len() > NAME_BYTES {
            let digest = Sha256::digest(&name);
            name = b"d".to_vec();
            name.extend_from_slice(&digest);
        }
        name
    }

    /// The question of this name, if the name is not a digest and the question is one that is worth
    /// asking before anybody does.
    pub(super) fn from_name(name: &[u8]) -> Option<Self> {
        let mut rest = name.strip_prefix(b"a")?;
        let mut parts = Vec::new();
        while let Some((length, more)) = rest.split_first_chunk() {
            let (part, more) = more.split_at_checked(u16::from_be_bytes(*length).into())?;
            parts.push(std::str::from_utf8(part).ok()?);
            rest = more;
        }
        let user = |text: &str| UserId::new(text).ok();
        match parts[..] {
            ["c", id] => Some(Self::Counts(user(id)?)),
            ["f", id] => Some(Self::Followees(user(id)?)),
            [list, id, other, cursor, limit] => Some(Self::Page {
                list: *LISTS.get(list.parse::<usize>().ok()?)?,
                user: user(id)?,
                other: if other.is_empty() { None } else { Some(user(other)?) },
                cursor: if cursor.is_empty() {
                    None
                } else {
                    Some(Cursor::new(cursor.to_owned()).ok()?)
                },
                limit: limit.parse().ok()?,
            }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(id: &str) -> UserId {
        UserId::new(id).unwrap()
    }

    #[test]
    fn a_question_is_found_by_its_name() {
        let cursor = Cursor::new("c-1".into()).unwrap();
        for question in [
            Question::Counts(user("ann")),
            Question::Followees(user("🦀")),
            Question::page(List::Followers, (&user("ann"), None), None, 50),
            Question::page(List::Known, (&user("a"), Some(&user("b"))), Some(&cursor), 7),
        ] {
            assert_eq!(Question::from_name(&question.name()), Some(question));
        }
    }

    #[test]
    fn no_two_questions_have_one_name() {
        let [ann, ben, long] = ["ann", "ben", &"x".repeat(128)].map(user);
        let cursor = Cursor::new("x".repeat(256)).unwrap();
        let names = [
            Question::Counts(ann.clone()).name(),
            Question::Followees(ann.clone()).name(),
            Question::AreFollowing(ann.clone(), vec![ben.clone()]).name(),
            Question::AreFollowing(ben.clone(), vec![ann.clone()]).name(),
            Question::AreFollowing(ann.clone(), vec![user("b"), user("en")]).name(),
            Question::Hidden(ann.clone(), vec![ben.clone()]).name(),
            Question::AreFollowing(ann.clone(), vec![long.clone(); 9]).name(),
            Question::AreFollowing(ann.clone(), vec![long.clone(); 8]).name(),
            Question::Hidden(ann.clone(), vec![long.clone(); 9]).name(),
            Question::page(List::Followers, (&ann, None), None, 50).name(),
            Question::page(List::Following, (&ann, None), None, 50).name(),
            Question::page(List::Followers, (&ann, None), None, 5).name(),
            Question::page(List::Known, (&ann, Some(&ben)), None, 50).name(),
            Question::page(List::Known, (&ben, Some(&ann)), None, 50).name(),
            Question::page(List::Known, (&long, Some(&long)), Some(&cursor), 50).name(),
        ];
        let different: std::collections::HashSet<_> = names.iter().collect();
        assert_eq!(different.len(), names.len());
        assert!(names.iter().all(|name| name.len() <= NAME_BYTES));
    }
}
